package container

import (
	"slices"

	"github.com/parley-k8s/parley/framework/requirement"
)

// Requirements lists the chapter, family by family.
func Requirements() []requirement.Requirement {
	return slices.Concat([]requirement.Requirement{
		loopbackTCP(), loopbackUDP(),
		networkNamespaceShared(), portConflict(),
		sysvMessageQueue(), sysvQueueLimit(), sysvSemaphore(), sysvSharedMemory(),
		posixMessageQueue(), posixSemaphore(), posixSharedMemory(),
		ipcNamespaceShared(), ipcIsolated(), hostIPC(),
		unixStream(),
		volumeWriteRead(),
	}, ipcReach())
}
