package stage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	gateway "sigs.k8s.io/gateway-api/pkg/client/clientset/versioned"
	"sigs.k8s.io/yaml"

	"github.com/parley-k8s/parley/fixtures/world"
	"github.com/parley-k8s/parley/framework/requirement"
	"github.com/parley-k8s/parley/framework/until"
)

const (
	gatewayModule = "sigs.k8s.io/gateway-api"
	// kindsServed bounds the time until the API server serves new kinds; a second is usual.
	kindsServed = 30 * time.Second
)

// gatewayKinds are the files of the definitions that are needed, in the module's config/crd/standard.
var gatewayKinds = []string{"gatewayclasses", "gateways", "httproutes"}

var definitions = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// bringGatewayAPI makes the kinds of Gateway API where the cluster has none, from the module that this one is built
// with; they are removed after the run. It says whether they are there.
func (s *Stage) bringGatewayAPI(ctx context.Context) (bool, error) {
	if _, err := s.kube.Discovery().ServerResourcesForGroupVersion(gatewayv1.GroupVersion.String()); err == nil {
		return true, nil
	}
	client, err := dynamic.NewForConfig(s.cluster.Config())
	if err != nil {
		return false, fmt.Errorf("making a client for the kinds of Gateway API: %w", err)
	}
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", gatewayModule).Output()
	dir := strings.TrimSpace(string(out))
	if err != nil || dir == "" {
		return false, fmt.Errorf("finding the source of %s (`go mod download` brings it): %w", gatewayModule, errors.Join(err, ctx.Err()))
	}
	for _, kind := range gatewayKinds {
		path := filepath.Join(dir, "config", "crd", "standard", "gateway.networking.k8s.io_"+kind+".yaml")
		text, err := os.ReadFile(path)
		if err != nil {
			return false, fmt.Errorf("reading the kinds of Gateway API: %w", err)
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(text, &object.Object); err != nil {
			return false, fmt.Errorf("reading %s: %w", path, err)
		}
		object.SetLabels(s.plan.Labels)
		made, err := client.Resource(definitions).Create(ctx, object, metav1.CreateOptions{})
		if apierrors.IsAlreadyExists(err) {
			continue
		}
		if err != nil {
			return false, fmt.Errorf("making the kind %s: %w", object.GetName(), err)
		}
		s.undoUnlessKept("removing the kind "+made.GetName(), func(ctx context.Context) error {
			return requirement.IgnoreNotFound(client.Resource(definitions).Delete(ctx, made.GetName(), metav1.DeleteOptions{}))
		})
	}
	_, err = until.Settled(ctx, until.Policy{Within: kindsServed}, func(context.Context) error {
		served, err := s.kube.Discovery().ServerResourcesForGroupVersion(gatewayv1.GroupVersion.String())
		if err == nil && len(served.APIResources) < len(gatewayKinds) {
			err = fmt.Errorf("%d of %d kinds are served", len(served.APIResources), len(gatewayKinds))
		}
		return err
	})
	if err != nil {
		return false, fmt.Errorf("waiting for the kinds of Gateway API: %w", err)
	}
	return true, nil
}

// applyGatewayClass makes the run's own GatewayClass.
func (s *Stage) applyGatewayClass(ctx context.Context) error {
	if !s.plan.GatewayAPI {
		return nil
	}
	client, err := gateway.NewForConfig(s.cluster.Config())
	if err != nil {
		return fmt.Errorf("making a client of Gateway API: %w", err)
	}
	_, err = own(ctx, s, client.GatewayV1().GatewayClasses(), &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: s.plan.ClassName(), Labels: s.plan.Labels},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: world.ReferenceController},
	})
	return err
}
