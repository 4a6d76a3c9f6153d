package service

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/parley-k8s/parley/fixtures/agent/wire"
	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/fault"
	"github.com/parley-k8s/parley/framework/requirement"
)

// noLinks is the variant whose pod has enableServiceLinks false.
const noLinks = "no-links"

func environment() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/environment",
		Long:  true,
		Title: "A container that starts after a Service of its namespace has the Service's variables in its environment, and those of the API server's.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL: "https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables",
			Says: "The kubelet adds {SVCNAME}_SERVICE_HOST and {SVCNAME}_SERVICE_PORT, and variables in the form of Docker's links, for each active " +
				"Service: the name upper-cased, dashes as underscores. enableServiceLinks, true by default, turns them off.",
		},
		Why: "Client libraries find the API server by KUBERNETES_SERVICE_HOST alone, and older software its peers by the rest. A kubelet that has not " +
			"seen the Service when the container starts leaves them out for good.",
		PerNode:  true,
		Roles:    []world.Role{world.Near},
		Services: []world.Service{world.NearAlone},
		Check: func(ctx context.Context, env *requirement.Env) error {
			want, err := variables(ctx, env)
			if err != nil {
				return err
			}
			yes := !env.Fixture(noLinks)
			pod := env.NewPod(env.Role(world.Near).Node, world.Container("a"))
			pod.Spec.EnableServiceLinks = &yes
			started, err := env.Start(ctx, pod)
			if err != nil {
				return err
			}
			end := started.Ends["a"]
			got, err := end.File(ctx, wire.File{Do: "read", Path: "/proc/self/environ"})
			if err != nil {
				return fmt.Errorf("reading the environment of %s: %w", end, err)
			}
			if !got.Ok() {
				return fmt.Errorf("reading the environment of %s: %s", end, got.Errno)
			}
			has := map[string]string{}
			for variable := range strings.SplitSeq(string(got.Data), "\x00") {
				name, value, _ := strings.Cut(variable, "=")
				has[name] = value
			}
			for _, w := range want {
				value, ok := has[w.name]
				if ok && value == w.value {
					continue
				}
				observed := "no such variable"
				if ok {
					observed = w.name + "=" + value
				}
				return &requirement.Failure{Reason: requirement.Missing, To: end, Target: w.name, Protocol: "environment",
					Expected: w.name + "=" + w.value, Observed: observed, Again: "kubectl get services -n " + end.Namespace}
			}
			env.Note("%d variables judged", len(want))
			return nil
		},
		Control: requirement.Control{
			Says:    "a pod with enableServiceLinks false",
			Variant: &requirement.Variant{Fixture: noLinks},
			Red:     []requirement.Reason{requirement.Missing},
		},
	}
}

type variable struct{ name, value string }

// variables are those that a container must have, by the documented rules. Those of default/kubernetes are there whatever
// enableServiceLinks says.
func variables(ctx context.Context, env *requirement.Env) ([]variable, error) {
	api, err := apiService(ctx, env)
	if err != nil {
		return nil, err
	}
	var all []variable
	for _, s := range []requirement.ServiceSeen{api, env.Service(world.NearAlone)} {
		prefix, ip := strings.ToUpper(strings.ReplaceAll(s.Name, "-", "_")), s.Spec.ClusterIP
		for i, p := range s.Spec.Ports {
			port, proto := fmt.Sprint(p.Port), strings.ToLower(string(p.Protocol))
			host := ip
			if strings.Contains(ip, ":") {
				host = "[" + ip + "]"
			}
			url := proto + "://" + host + ":" + port
			if i == 0 {
				all = append(all, variable{prefix + "_SERVICE_HOST", ip}, variable{prefix + "_SERVICE_PORT", port}, variable{prefix + "_PORT", url})
			}
			if p.Name != "" {
				all = append(all, variable{prefix + "_SERVICE_PORT_" + strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_")), port})
			}
			link := prefix + "_PORT_" + port + "_" + strings.ToUpper(proto)
			all = append(all, variable{link, url}, variable{link + "_PROTO", proto}, variable{link + "_PORT", port}, variable{link + "_ADDR", ip})
		}
	}
	return all, nil
}

func apiService(ctx context.Context, env *requirement.Env) (requirement.ServiceSeen, error) {
	service, err := env.Kube.CoreV1().Services(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
	if err != nil {
		return requirement.ServiceSeen{}, fmt.Errorf("reading the Service default/kubernetes: %w", err)
	}
	return requirement.ServiceSeen{Service: service}, nil
}

func kubernetes() requirement.Requirement {
	return requirement.Requirement{
		ID:    "service/kubernetes",
		Title: "The Service default/kubernetes exists, and its cluster IP reaches the API server from a pod on every node.",
		Level: requirement.Must,
		Clause: requirement.Clause{
			URL:  "https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/#directly-accessing-the-rest-api",
			Says: "The Service kubernetes in the namespace default directs pods to the API server; its address is also in every container's environment.",
		},
		Why: "Controllers, operators and the cluster's DNS start with it. Its endpoints are no pods but the control plane's own addresses, " +
			"often behind a firewall that nothing else crosses.",
		Roles: []world.Role{world.Everywhere},
		Check: func(ctx context.Context, env *requirement.Env) error {
			service, err := apiService(ctx, env)
			if err != nil {
				return err
			}
			address, err := apiAddress(service)
			if err != nil {
				return err
			}
			for _, client := range env.Roles(world.Everywhere) {
				if err := env.Until(ctx, func(ctx context.Context) error { return answersAsAPI(ctx, env, client, address) }); err != nil {
					return err
				}
			}
			return nil
		},
		Control: requirement.Control{
			Says: "what one client sends to that cluster IP dropped",
			Fault: &requirement.Fault{Points: []requirement.Point{
				fault.InPodOf(world.Everywhere, func(ctx context.Context, env *requirement.Env) ([]wire.Rule, error) {
					service, err := apiService(ctx, env)
					if err != nil {
						return nil, err
					}
					return []wire.Rule{{Hook: "output", Priority: fault.BeforeAll, Proto: "tcp", To: service.Spec.ClusterIP,
						ToPort: int(service.Spec.Ports[0].Port), Do: "drop"}}, nil
				}),
			}},
			Red: []requirement.Reason{requirement.NoAnswer},
		},
	}
}

func apiAddress(service requirement.ServiceSeen) (string, error) {
	ip, err := parseIP(service.Spec.ClusterIP)
	if err != nil {
		return "", err
	}
	if len(service.Spec.Ports) == 0 {
		return "", fmt.Errorf("the Service default/kubernetes has no port")
	}
	return requirement.At(ip, int(service.Spec.Ports[0].Port)), nil
}

// answersAsAPI asks for /version, which API servers answer to anyone; one that does not says so with a Status of its own.
// Whether the certificate is the right one is judged by node/pod-to-api.
func answersAsAPI(ctx context.Context, env *requirement.Env, client *requirement.End, address string) error {
	url := "https://" + address + "/version"
	got, err := client.HTTP(ctx, wire.HTTP{URL: url, Insecure: true, Timeout: int(env.Attempt.Milliseconds())})
	if err != nil {
		return fmt.Errorf("asking %s to reach the API server: %w", client, err)
	}
	fail := func(reason requirement.Reason, observed string) error {
		return &requirement.Failure{Reason: reason, From: client, Target: address, Protocol: "https", Expected: "the API server to answer",
			Observed: observed, Again: fmt.Sprintf("kubectl exec -n %s %s -c %s -- /agent dial tcp %s", client.Namespace, client.Pod, client.Container, address)}
	}
	if !got.Ok() {
		return fail(requirement.ReasonOf(got.Errno), got.Errno.String())
	}
	var body struct{ GitVersion, Kind string }
	if err := json.Unmarshal([]byte(got.Body), &body); err != nil {
		return fail(requirement.WrongServer, fmt.Sprintf("status %d: %.100s", got.Status, got.Body))
	}
	if got.Status == http.StatusOK && body.GitVersion == "" || got.Status != http.StatusOK && body.Kind != "Status" {
		return fail(requirement.WrongServer, fmt.Sprintf("status %d: %.100s", got.Status, got.Body))
	}
	return nil
}
