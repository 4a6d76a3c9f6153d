package reports

// Change is something of the cluster that was another way at the end of the run than at its beginning, and that no requirement
// changed.
type Change struct {
	// Of is what changed: "node w2", "pod kube-system/coredns-1 on w1", "10.244.1.5".
	Of string `json:"of"`
	// What completes the sentence: "is not Ready since 10:03:07 (KubeletNotReady: ...)".
	What string `json:"what"`
}

func (c Change) sentence() string { return oneLine(c.Of + " " + c.What) }

func sentencesOf(all []Change) (lines []string) {
	for _, c := range all {
		lines = append(lines, c.sentence())
	}
	return lines
}

// changedDuringTheRun heads the changes wherever a person reads them.
const changedDuringTheRun = "changed during the run"
