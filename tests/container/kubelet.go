package container

import "github.com/parley-k8s/parley/framework/requirement"

// volumes are the rows about volumes, beyond the plain volume-write-read.
func volumes() []requirement.Requirement {
	return []requirement.Requirement{
		volumeMemory(), volumeMmap(), volumeLock(), volumeInotify(), volumeRename(), volumeFIFO(),
		volumeReadOnly(), volumeSubPath(), volumeFSGroup(),
		volumeSurvivesRestart(), volumeDiesWithPod(), volumePropagation(),
	}
}

// lifecycles are the rows about what the kubelet does for the containers of a pod while it lives.
func lifecycles() []requirement.Requirement {
	return []requirement.Requirement{
		configMap(), secret(), downward(), projected(), configMapUpdate(),
		sidecar(), ephemeral(), podIPSurvivesRestart(), sandboxReplaced(),
		probeOf(httpProbe), probeOf(tcpProbe), probeOf(grpcProbe), probeOf(execProbe), hookPostStart(), hookPreStop(),
	}
}
