package container

import (
	"slices"

	"github.com/parley-k8s/parley/framework/requirement"
)

// Requirements lists the chapter, family by family.
func Requirements() []requirement.Requirement {
	return slices.Concat([]requirement.Requirement{
		loopbackTCP(), loopbackUDP(), loopbackSCTP(), loopbackIPv6(), loopbackIsolated(),
		localhostName(), hostnameResolves(), hostAliases(),
		networkNamespaceShared(), portConflict(),
		sysvMessageQueue(), sysvQueueLimit(), sysvMessageType(), sysvSemaphore(), sysvSharedMemory(),
		posixMessageQueue(), posixSemaphore(), posixSharedMemory(),
		ipcNamespaceShared(), ipcIsolated(), hostIPC(), ipcSysctl(), ipcSurvivesRestart(), devShm(), devShmLimit(),
		processNamespacePrivate(), processNamespaceShared(), processSignal(), processRoot(), hostPID(),
		unixStream(), unixDescriptorPassing(), unixPeerCredentials(), unixPeerPID(),
		unixPermissions(), unixGroup(), unixHostPath(), abstractSocket(), hostNetworkAbstractSocket(),
		volumeWriteRead(),
	}, ipcReach(), unixSockets(), hostnames(), volumes(), lifecycles())
}
