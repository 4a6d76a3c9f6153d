package probe

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"sync"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/klog/v2"
	"k8s.io/streaming/pkg/httpstream"
)

// Exec returns a Dialer whose stream is the stdin and stdout of a command in a container, through the API server
// and the kubelet: by WebSocket, or by SPDY where a server or a proxy on the way is older.
func Exec(cfg *rest.Config, namespace, pod, container string, command ...string) Dialer {
	return execDialer{cfg: cfg, namespace: namespace, pod: pod, container: container, command: command}
}

// Attach returns a Dialer whose stream reads the standard output of the container's main process from then on, through the
// API server and the kubelet as Exec does. What is written to the stream is discarded.
func Attach(cfg *rest.Config, namespace, pod, container string) Dialer {
	return execDialer{cfg: cfg, namespace: namespace, pod: pod, container: container, attach: true}
}

type execDialer struct {
	cfg                       *rest.Config
	namespace, pod, container string
	command                   []string
	attach                    bool // to the main process, whose output alone is read
}

func (d execDialer) Dial(ctx context.Context) (io.ReadWriteCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	executor, err := d.executor()
	if err != nil {
		return nil, fmt.Errorf("preparing %s in %s/%s: %w", d.verb(), d.namespace, d.pod, err)
	}
	// The stream's life is its own: ctx is for the dialing, which goes on in the background. What client-go would
	// log of a stream that ends is in the error that ends it.
	streamCtx, cancel := context.WithCancel(klog.NewContext(context.WithoutCancel(ctx), logr.Discard()))
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	s := &execStream{in: inW, out: outR, cancel: cancel}
	stderr := &tail{limit: stderrKept}
	go func() {
		defer cancel()
		options := remotecommand.StreamOptions{Stdin: inR, Stdout: outW, Stderr: stderr}
		if d.attach {
			options = remotecommand.StreamOptions{Stdout: outW}
		}
		err := executor.StreamWithContext(streamCtx, options)
		if text := stderr.String(); text != "" {
			if err == nil {
				err = textError(text)
			} else {
				err = fmt.Errorf("%w: %s", err, text)
			}
		}
		if err != nil {
			err = fmt.Errorf("%s in %s/%s, container %s: %w", d.verb(), d.namespace, d.pod, d.container, err)
		}
		_ = outW.CloseWithError(err) // a nil error is io.EOF
		_ = inR.CloseWithError(err)
	}()
	return s, nil
}

func (d execDialer) executor() (remotecommand.Executor, error) {
	u, err := d.url()
	if err != nil {
		return nil, err
	}
	ws, err := remotecommand.NewWebSocketExecutor(d.cfg, "GET", u.String())
	if err != nil {
		return nil, err
	}
	spdy, err := remotecommand.NewSPDYExecutor(d.cfg, "POST", u)
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(ws, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// url is the subresource with the options in its query.
func (d execDialer) url() (*url.URL, error) {
	cfg := rest.CopyConfig(d.cfg)
	cfg.APIPath = "/api"
	cfg.GroupVersion = &schema.GroupVersion{Version: "v1"}
	cfg.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.RESTClientFor(cfg)
	if err != nil {
		return nil, err
	}
	request := client.Get().Namespace(d.namespace).Resource("pods").Name(d.pod).SubResource(d.verb())
	if d.attach {
		return request.VersionedParams(&corev1.PodAttachOptions{Container: d.container, Stdout: true}, scheme.ParameterCodec).URL(), nil
	}
	return request.VersionedParams(&corev1.PodExecOptions{
		Container: d.container, Command: d.command, Stdin: true, Stdout: true, Stderr: true,
	}, scheme.ParameterCodec).URL(), nil
}

// execStream is the stdin and stdout of a command in a container.
type execStream struct {
	in     *io.PipeWriter
	out    *io.PipeReader
	cancel context.CancelFunc
	once   sync.Once
}

func (s *execStream) Read(b []byte) (int, error)  { return s.out.Read(b) }
func (s *execStream) Write(b []byte) (int, error) { return s.in.Write(b) }

func (s *execStream) Close() error {
	s.once.Do(func() {
		_ = s.in.Close()
		_ = s.out.Close()
		s.cancel()
	})
	return nil
}

// verb is the pod's subresource.
func (d execDialer) verb() string {
	if d.attach {
		return "attach"
	}
	return "exec"
}
