package lab

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/parley-k8s/parley/framework/internal/axis"
	"github.com/parley-k8s/parley/framework/internal/progress"
)

func TestNamedReference(t *testing.T) {
	got, err := namedReference("registry/reference:v1", "192.0.2.64/26, 2001:db8::/112")
	require.NoError(t, err)
	require.Equal(t, "registry/reference:v1", got.Image)
	require.Equal(t, []netip.Prefix{netip.MustParsePrefix("192.0.2.64/26"), netip.MustParsePrefix("2001:db8::/112")}, got.Addresses)
	_, err = namedReference("x", " , ")
	require.ErrorContains(t, err, "-reference needs -reference-addresses")
	_, err = namedReference("x", "192.0.2.64")
	require.ErrorContains(t, err, "-reference-addresses 192.0.2.64")
}

func columns(t *testing.T) axis.Group {
	t.Helper()
	all, err := axis.Choose(axis.All(), nil).Columns("")
	require.NoError(t, err)
	return all
}

func TestAClusterThatIsNotThere(t *testing.T) {
	o := Options{Columns: columns(t), Log: progress.New(true), Existing: true, Kubeconfig: filepath.Join(t.TempDir(), "nope")}
	_, err := Open(t.Context(), o)
	require.ErrorContains(t, err, "the kubeconfig can't be read")

	ctx, stop := context.WithCancelCause(t.Context())
	stop(errors.New("interrupted by a test"))
	_, err = Open(ctx, o)
	require.EqualError(t, err, "interrupted by a test", "what broke because of it says less")
}

// A build that is not needed any more is ended, and its temporary files are gone when the lab is closed.
func TestTheBuildOfTheReferenceIsEndedWithTheLab(t *testing.T) {
	l := &Lab{options: Options{Reference: true, Log: progress.New(true)}}
	l.startReference(t.Context())
	l.Close(t.Context())
	select {
	case <-l.reference.built:
	default:
		t.Fatal("the build goes on")
	}
	_, err := l.Reference(t.Context())
	require.Error(t, err, "it was ended")
}

func TestAClusterWithoutReference(t *testing.T) {
	for _, o := range []Options{{}, {Reference: true, Existing: true}, {Existing: true, ReferenceImage: "x"}} {
		got, err := (&Lab{options: o}).Reference(t.Context())
		require.NoError(t, err)
		require.Nil(t, got)
	}
}
