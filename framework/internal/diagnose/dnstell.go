package diagnose

import (
	"fmt"
	"slices"
	"strings"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
)

// asked names one of the questions of heard.
type asked struct{ asker, server, way int }

// finding is what the answers tell.
type nameFinding struct {
	text   string
	behind int    // the DNS pod that answers something else than the others; -1 where none does
	lost   *asked // a question to follow, of those that were not answered
}

// tell says what tells the answers apart: their size, the DNS pod, the transport, the asker's node, or a cache in between; where
// nothing does, that all are alike.
func (h *heard) tell() nameFinding {
	for _, look := range []func() (nameFinding, bool){h.bySize, h.byPod, h.bySilence, h.byNameserver} {
		if found, ok := look(); ok {
			return found
		}
	}
	return nameFinding{text: h.alike(), behind: -1}
}

// pods is how many of the servers are DNS pods; where none is known the nameserver takes their place.
func (h *heard) pods() int { return max(1, len(h.servers)-1) }

// nameserver is the server that is the asker's own.
func (h *heard) nameserver() int { return len(h.servers) - 1 }

// content is what an answer says, to be compared; "" is silence. What is cut says only that there is something.
func content(a wire.DNSAnswer) string {
	switch {
	case a.Rcode == "":
		return ""
	case a.Truncated:
		return cut
	case !a.Ok():
		return a.Rcode
	case len(a.Answers) == 0:
		return "no records"
	}
	sorted := slices.Sorted(slices.Values(a.Answers))
	return strings.ToLower(strings.Join(sorted, ", "))
}

const cut = "a truncated answer"

// words is content for a reader.
func words(content string) string {
	if n := strings.Count(content, ", ") + 1; n > mostShown {
		return fmt.Sprintf("%d records", n)
	}
	return content
}

// bySize looks for answers that arrive while they are small, or over TCP, and not when they are large.
func (h *heard) bySize() (nameFinding, bool) {
	const fits = 512
	lost := make([][]bool, len(h.askers))
	var first *asked
	limit, length := 0, 0
	for a := range h.askers {
		lost[a] = make([]bool, h.pods())
		for s := range h.pods() {
			got := h.answers[a][s]
			if content(got[smallUDP]) == "" || content(got[overTCP]) == "" || got[overTCP].Length <= fits {
				continue
			}
			over, way := fits, wholeUDP
			switch {
			case content(got[wholeUDP]) == "":
			case content(got[largeUDP]) == "":
				over, way = ways()[wholeUDP].EDNS, largeUDP
			default:
				continue
			}
			lost[a][s] = true
			if first == nil || over < limit {
				first, limit, length = &asked{a, s, way}, over, got[overTCP].Length
			}
		}
	}
	if first == nil {
		return nameFinding{}, false
	}
	text := fmt.Sprintf("answers over %d bytes by UDP are lost %s; by TCP they arrive (%s has %d bytes)", limit, h.whereLost(lost), h.question.Name, length)
	return nameFinding{text: text, behind: -1, lost: first}, true
}

// whereLost puts the askers and DNS pods between which something is lost into words.
func (h *heard) whereLost(lost [][]bool) string {
	var to, whole []string // nodes that lose from every pod, and from none
	from := make([]int, h.pods())
	for a, node := range h.askers {
		n := 0
		for s, is := range lost[a] {
			if is {
				n++
				from[s]++
			}
		}
		switch n {
		case h.pods():
			to = append(to, node)
		case 0:
			whole = append(whole, node)
		}
	}
	switch {
	case len(to) == len(h.askers):
		return "on the way to every node that asked, " + strings.Join(to, " and ")
	case len(to) > 0 && len(to)+len(whole) == len(h.askers):
		return fmt.Sprintf("on the way to node %s, whoever of %d servers answers; at node %s they arrive", strings.Join(to, ", "), h.pods(), strings.Join(whole, ", "))
	}
	var pods, pairs []string
	for s, n := range from {
		if n == len(h.askers) {
			pods = append(pods, h.servers[s])
		}
	}
	for a, node := range h.askers {
		for s, is := range lost[a] {
			if is {
				pairs = append(pairs, h.servers[s]+" to node "+node)
			}
		}
	}
	if len(pods)*len(h.askers) == len(pairs) {
		return fmt.Sprintf("on the way from %s, wherever they go", strings.Join(pods, ", "))
	}
	return "on the way from " + strings.Join(pairs, ", from ")
}

// byPod looks for a DNS pod that answers something else than another.
func (h *heard) byPod() (nameFinding, bool) {
	for a, node := range h.askers {
		for _, way := range []int{overTCP, smallUDP} {
			groups := map[string][]int{}
			var order []string
			for s := range h.pods() {
				c := content(h.answers[a][s][way])
				if c == "" {
					continue
				}
				if groups[c] == nil {
					order = append(order, c)
				}
				groups[c] = append(groups[c], s)
			}
			if len(order) < 2 {
				continue
			}
			// Who says no, or is in the smaller group, is named first.
			slices.SortStableFunc(order, func(x, y string) int {
				if nx, ny := isNo(x), isNo(y); nx != ny {
					if nx {
						return -1
					}
					return 1
				}
				return len(groups[x]) - len(groups[y])
			})
			odd, other := groups[order[0]], groups[order[1]]
			text := fmt.Sprintf("%s answers %s where %s answers %s, to %s %s asked from %s %s", h.names(odd), words(order[0]), h.names(other), words(order[1]),
				h.question.Type, h.question.Name, node, wayWords(way))
			return nameFinding{text: text, behind: odd[0]}, true
		}
	}
	return nameFinding{}, false
}

func (h *heard) names(servers []int) string {
	var all []string
	for _, s := range servers {
		all = append(all, h.servers[s])
	}
	return strings.Join(all, " and ")
}

// isNo says whether the content is that there is nothing, or a failure.
func isNo(content string) bool {
	return content == "no records" || strings.ToUpper(content) == content && !strings.ContainsAny(content, ".:")
}

// bySilence looks for a DNS pod that does not answer one asker, or over one transport, where it does so otherwise.
func (h *heard) bySilence() (nameFinding, bool) {
	for a, node := range h.askers {
		for s := range h.pods() {
			for _, way := range []int{smallUDP, overTCP} {
				if content(h.answers[a][s][way]) != "" {
					continue
				}
				var elsewhere []string
				if otherwise := smallUDP + overTCP - way; content(h.answers[a][s][otherwise]) != "" {
					elsewhere = append(elsewhere, wayWords(otherwise)+" it does")
				}
				for b, other := range h.askers {
					if content(h.answers[b][s][way]) != "" {
						elsewhere = append(elsewhere, "to node "+other+" it does")
					}
				}
				text := fmt.Sprintf("%s does not answer this question %s when asked from %s (%s)", h.servers[s], wayWords(way), node, h.answers[a][s][way].Errno)
				if len(elsewhere) > 0 {
					text += "; " + strings.Join(elsewhere, ", ")
				}
				return nameFinding{text: text, behind: -1, lost: &asked{a, s, way}}, true
			}
		}
	}
	return nameFinding{}, false
}

// byNameserver looks for a nameserver that answers something else than the DNS pods do, who all answer alike.
func (h *heard) byNameserver() (nameFinding, bool) {
	if h.nameserver() == 0 {
		return nameFinding{}, false
	}
	for a, node := range h.askers {
		for _, way := range []int{overTCP, smallUDP} {
			own, pods := content(h.answers[a][h.nameserver()][way]), content(h.answers[a][0][way])
			if own == pods {
				continue
			}
			answer := "answers " + words(own)
			if own == "" {
				answer = fmt.Sprintf("does not answer (%s)", h.answers[a][h.nameserver()][way].Errno)
			}
			text := fmt.Sprintf("%s %s where each of its %d DNS pods answers %s, to %s %s asked from %s %s: look at what is in between, a cache or the service proxy",
				h.servers[h.nameserver()], answer, h.pods(), words(pods), h.question.Type, h.question.Name, node, wayWords(way))
			return nameFinding{text: text, behind: -1}, true
		}
	}
	return nameFinding{}, false
}

// alike is what all answer.
func (h *heard) alike() string {
	who := h.servers[h.nameserver()]
	if h.nameserver() > 0 {
		who = fmt.Sprintf("each of %d DNS pods and %s", h.pods(), who)
	}
	got := h.answers[0][h.nameserver()][overTCP]
	if content(got) == "" {
		got = h.answers[0][h.nameserver()][smallUDP]
	}
	text := fmt.Sprintf("%s answers %s to %s %s, by UDP and TCP, small and large, asked from %s", who, words(content(got)), h.question.Type, h.question.Name,
		strings.Join(h.askers, " and "))
	if h.repeated > 0 {
		text += fmt.Sprintf(", %d of the questions only when asked again", h.repeated)
	}
	switch {
	case content(got) == "":
		return fmt.Sprintf("%s does not answer %s %s, by UDP and TCP, asked from %s, and other questions it does: only this question is affected", who,
			h.question.Type, h.question.Name, strings.Join(h.askers, " and "))
	case got.Ok() && len(got.Answers) > 0 && h.wrong:
		return text
	case got.Ok() && len(got.Answers) > 0:
		return noneNow + text
	}
	return text + ", and kubernetes.default rightly: only this question is affected"
}

// noneNow begins what is said where the question is answered by everybody as it should be.
const noneNow = "none now: "
