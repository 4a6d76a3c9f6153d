package diagnose

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/framework/requirement"
)

// names walks the ladder of a name: how the pods of the asker's node are told to resolve, every DNS pod, the nameserver, and then
// the failing question itself, of each of them.
func (w *walk) names(ctx context.Context) string {
	if told := w.searchLists(ctx); told != "" || w.failure.Protocol == resolvConf {
		return told
	}
	pods, none, err := w.dnsPods(ctx)
	switch {
	case err != nil:
		w.note("the DNS Service's endpoints could not be read: %v", err)
	case none != "":
		return none
	}
	known := wire.DNS{Name: "kubernetes.default.svc." + w.env.World.Domain + ".", Type: "A"}
	if ip, ok := w.failure.From.IP(w.env.Family); ok && ip.Is6() {
		known.Type = "AAAA"
	}
	for _, pod := range pods {
		if told, err := w.knownOf(ctx, known, pod); err != nil || told != "" {
			if err == nil && !w.anyKnows(ctx, known, pods) {
				w.nothingTo = DNS
			}
			return told + gone(w.failure.From, err)
		}
	}
	if told, err := w.knownOfNameserver(ctx, known, len(pods)); err != nil || told != "" {
		return told + gone(w.failure.From, err)
	}
	return w.failingQuestion(ctx, pods, known)
}

func gone(client *requirement.End, err error) string {
	if err == nil {
		return ""
	}
	return "the agent of " + client.Where() + " does not answer: " + err.Error()
}

// askName puts the question once; the error is of the control channel.
func (w *walk) askName(ctx context.Context, from *requirement.End, q wire.DNS) (wire.DNSAnswer, error) {
	q.Timeout, q.Count = int(w.env.Attempt.Milliseconds()), 0
	return from.DNS(ctx, q)
}

// knownOf asks a DNS pod for a name that every one of them has known for long.
func (w *walk) knownOf(ctx context.Context, known wire.DNS, pod dnsPod) (told string, err error) {
	client := w.failure.From
	known.Server = pod.address
	got, err := w.askName(ctx, client, known)
	if err != nil {
		return "", err
	}
	w.note("DNS: %s asks %s for %s: %s", client.Where(), pod, known.Name, says(got))
	if got.Ok() {
		return "", nil
	}
	told = fmt.Sprintf("endpoint: the DNS pod %s (%s), asked by %s, answers %s", pod, pod.address, client.Where(), got.Errno)
	return told + w.followQuestion(ctx, client, pod.end(), known), nil
}

// anyKnows says whether a DNS pod or the nameserver answers for the name, each asked once more.
func (w *walk) anyKnows(ctx context.Context, known wire.DNS, pods []dnsPod) bool {
	servers := []string{""}
	for _, pod := range pods[:min(len(pods), podsAsked)] {
		servers = append(servers, pod.address)
	}
	var answered atomic.Bool
	var asking sync.WaitGroup
	for _, server := range servers {
		q := known
		q.Server = server
		asking.Go(func() {
			if got, err := w.askName(ctx, w.failure.From, q); err == nil && got.Ok() {
				answered.Store(true)
			}
		})
	}
	asking.Wait()
	return answered.Load()
}

// knownOfNameserver asks the nameserver of the asker's resolv.conf for it.
func (w *walk) knownOfNameserver(ctx context.Context, known wire.DNS, pods int) (told string, err error) {
	client := w.failure.From
	got, err := w.askName(ctx, client, known)
	if err != nil {
		return "", err
	}
	w.note("DNS: %s asks its nameserver %s for %s: %s", client.Where(), got.Server, known.Name, says(got))
	if got.Ok() {
		return "", nil
	}
	told = fmt.Sprintf("ClusterIP: the nameserver %s, asked by %s, answers %s", host(got.Server), client.Where(), got.Errno)
	if pods > 0 {
		told += fmt.Sprintf(", though each of its %d pods answers it", pods)
	}
	return told + w.followQuestion(ctx, client, nil, known), nil
}

// followQuestion follows the packets of one more attempt.
func (w *walk) followQuestion(ctx context.Context, from, to *requirement.End, q wire.DNS) string {
	told := w.follow(ctx, w.path(ctx, from, to), func(ctx context.Context, source string) error {
		q.Source = source
		_, err := w.askName(ctx, from, q)
		return err
	})
	if told == "" {
		return ""
	}
	return "; " + told
}

// says is an answer in a few words.
func says(a wire.DNSAnswer) string {
	switch {
	case a.Rcode == "":
		return a.Errno.String()
	case !a.Ok():
		return a.Rcode
	case a.Truncated:
		return "a truncated answer"
	case len(a.Answers) == 0:
		return "no records"
	case len(a.Answers) > mostShown:
		return fmt.Sprintf("%d records", len(a.Answers))
	}
	return strings.Join(a.Answers, ", ")
}

// mostShown is how many records are written out.
const mostShown = 4
