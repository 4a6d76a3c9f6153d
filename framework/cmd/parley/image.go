package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/spf13/cobra"

	"github.com/parley-k8s/parley/fixtures/agent/image"
	"github.com/parley-k8s/parley/framework/internal/engine"
)

func newImage() *cobra.Command {
	return group("image", "Build the probe agent's image and bring it where a cluster finds it",
		newImageBuild(), newImageSave(), newImagePush())
}

// archFlag declares --arch; the returned function gives the architectures, without doubles.
func archFlag(cmd *cobra.Command, standard []string) func() ([]string, error) {
	given := cmd.Flags().StringSlice("arch", standard, "the architectures of the nodes: "+strings.Join(image.Archs, ", "))
	return func() ([]string, error) {
		var archs []string
		for _, arch := range *given {
			if !slices.Contains(image.Archs, arch) {
				return nil, fmt.Errorf("--arch %s: the agent is built for %s", arch, strings.Join(image.Archs, " and "))
			}
			if !slices.Contains(archs, arch) {
				archs = append(archs, arch)
			}
		}
		if len(archs) == 0 {
			return nil, fmt.Errorf("--arch names no architecture: the agent is built for %s", strings.Join(image.Archs, " and "))
		}
		return archs, nil
	}
}

// hostArch is this machine's architecture, where the agent is built for it.
func hostArch() []string {
	if slices.Contains(image.Archs, runtime.GOARCH) {
		return []string{runtime.GOARCH}
	}
	return image.Archs[:1]
}

// referenceFlag declares --reference, which asks for the other image.
func referenceFlag(cmd *cobra.Command) *bool {
	return cmd.Flags().Bool("reference", false, "the image of the reference implementations of LoadBalancer, Ingress and Gateway API in place of the agent's, for -reference of a run")
}

func buildAll(ctx context.Context, archs []string, reference bool) ([]*image.Image, error) {
	build := image.Build
	if reference {
		build = image.BuildReference
	}
	var images []*image.Image
	for _, arch := range archs {
		img, err := build(ctx, arch)
		if err != nil {
			return nil, err
		}
		images = append(images, img)
	}
	return images, nil
}

func newImageBuild() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the image into the container engine's own store",
		Long: "Build the agent's image from this module's source and load it into the container engine, for a cluster whose\n" +
			"nodes use that engine's images. It prints the image's reference.",
		Args: between(0, 0, "no arguments"),
	}
	archs, reference := archFlag(cmd, hostArch()), referenceFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		archs, err := archs()
		if err != nil {
			return err
		}
		e, _, err := engine.Find(cmd.Context(), engine.Options{})
		if err != nil {
			return err
		}
		defer func() { _ = e.Close() }() // only its temporary configuration
		images, err := buildAll(cmd.Context(), archs, *reference)
		if err != nil {
			return err
		}
		dir, err := os.MkdirTemp("", "parley-image-")
		if err != nil {
			return fmt.Errorf("making a folder for the agent's image: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }()
		for _, img := range images {
			archive := filepath.Join(dir, img.Arch()+".tar")
			if err := img.Save(archive); err != nil {
				return err
			}
			if _, err := e.Output(cmd.Context(), "load", "-i", archive); err != nil {
				return fmt.Errorf("loading the agent's image: %w", err)
			}
			fmt.Fprintln(cmd.OutOrStdout(), img.Ref())
		}
		return nil
	}
	return cmd
}

func newImageSave() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "save FILE",
		Short: "Write the image to an archive that engines and nodes load",
		Long: "Write the agent's image to a docker-archive, which `docker load`, `podman load`, `ctr -n k8s.io images import` and\n" +
			"`kind load image-archive` take. Of several architectures the archive has one image each, under a tag of its own.\n" +
			"It prints each image's reference, for -agent-image of a run.",
		Args: between(1, 1, "one file"),
	}
	archs, reference := archFlag(cmd, hostArch()), referenceFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		archs, err := archs()
		if err != nil {
			return err
		}
		if err := writable(args[0]); err != nil {
			return err
		}
		images, err := buildAll(cmd.Context(), archs, *reference)
		if err != nil {
			return err
		}
		if err := image.SaveAll(args[0], images...); err != nil {
			return err
		}
		for _, img := range images {
			fmt.Fprintln(cmd.OutOrStdout(), img.Ref())
		}
		return nil
	}
	return cmd
}

// writable says beforehand why a file can't be written. What is there already may only be an ordinary file,
// which the archive then replaces.
func writable(path string) error {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is there and is no ordinary file: name another", path)
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return fmt.Errorf("the archive can't be written to %s: there is no folder %s", path, dir)
	}
	try, err := os.CreateTemp(dir, ".parley-image-")
	if err != nil {
		return fmt.Errorf("the archive can't be written to %s: %w", path, err)
	}
	_ = try.Close()
	return os.Remove(try.Name())
}

func newImagePush() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "push REFERENCE",
		Short: "Push the image to a registry that the cluster pulls from",
		Long: "Push the agent's image, one reference for all architectures, with the credentials that docker, podman or their\n" +
			"helpers keep for the registry. It prints the reference with its digest, for -agent-image of a run.",
		Args: between(1, 1, "one reference (registry/repository:tag)"),
	}
	archs, reference := archFlag(cmd, image.Archs), referenceFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		archs, err := archs()
		if err != nil {
			return err
		}
		if err := pushable(args[0]); err != nil {
			return err
		}
		push := image.Push
		if *reference {
			push = image.PushReference
		}
		pushed, err := push(cmd.Context(), args[0], archs)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), pushed)
		return err
	}
	return cmd
}

// pushable says beforehand why nothing can be pushed to a reference. The registry has to be named: else an
// image would go to Docker's by a slip.
func pushable(reference string) error {
	const form = "name it as registry/repository:tag"
	ref, err := name.ParseReference(reference)
	if err != nil {
		return fmt.Errorf("%q is no reference of an image: %s", reference, form)
	}
	if _, ok := ref.(name.Digest); ok {
		return fmt.Errorf("%s has a digest, which only the push gives it: %s", reference, form)
	}
	first, _, _ := strings.Cut(reference, "/")
	if ref.Context().RegistryStr() == name.DefaultRegistry && first != "docker.io" && first != name.DefaultRegistry {
		return fmt.Errorf("%s names no registry: %s (docker.io/%s for Docker's)", reference, form, reference)
	}
	return nil
}
