package cni

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"

	"github.com/containernetworking/cni/libcni"
)

// ResultFolder is where libcni keeps what plugins attached, a file each, until it is detached: a runtime that stops a pod's sandbox has the
// plugins remove it.
const ResultFolder = "/var/lib/cni/results"

// Attachment is an interface that plugins attached to a network namespace.
type Attachment struct {
	// NetNS is the namespace's path as the runtime named it, "/run/netns/cni-1234"; "" where neither the runtime nor a plugin says.
	NetNS string
	// Pod and UID are whose it is, "namespace/name", by what kubelets' runtimes tell plugins; "" where it was attached for somebody else.
	Pod, UID string
}

// attachment is the form of libcni's files.
type attachment struct {
	Kind   string      `json:"kind"`
	NetNS  string      `json:"netns,omitempty"` // since libcni 1.2
	Args   [][2]string `json:"cniArgs,omitempty"`
	Result struct {
		Interfaces []struct {
			Sandbox string `json:"sandbox,omitempty"`
		} `json:"interfaces,omitempty"`
	} `json:"result"`
}

// ParseAttachment reads a file of ResultFolder.
func ParseAttachment(data []byte) (Attachment, error) {
	var told attachment
	if err := json.Unmarshal(data, &told); err != nil {
		return Attachment{}, fmt.Errorf("reading what libcni keeps of an attachment: %w", err)
	}
	if told.Kind != libcni.CNICacheV1 {
		return Attachment{}, errors.New("reading what libcni keeps of an attachment: it is of the kind " + told.Kind)
	}
	a := Attachment{NetNS: told.NetNS}
	for _, i := range told.Result.Interfaces {
		if a.NetNS == "" {
			a.NetNS = i.Sandbox
		}
	}
	args := map[string]string{}
	for _, arg := range told.Args {
		args[arg[0]] = arg[1]
	}
	if name := args["K8S_POD_NAME"]; name != "" {
		a.Pod, a.UID = path.Join(args["K8S_POD_NAMESPACE"], name), args["K8S_POD_UID"]
	}
	return a, nil
}

// EncodeAttachment is the file that libcni would keep of the attachment.
func EncodeAttachment(a Attachment) ([]byte, error) {
	namespace, name := path.Split(a.Pod)
	told := attachment{Kind: libcni.CNICacheV1, NetNS: a.NetNS,
		Args: [][2]string{{"K8S_POD_NAMESPACE", path.Clean(namespace)}, {"K8S_POD_NAME", name}, {"K8S_POD_UID", a.UID}}}
	data, err := json.Marshal(told)
	if err != nil {
		return nil, fmt.Errorf("writing what libcni would keep of an attachment: %w", err)
	}
	return data, nil
}
