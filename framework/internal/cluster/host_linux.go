package cluster

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"unsafe"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// capabilities are the names of capabilities(7), by number.
var capabilities = []string{
	"CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
	"LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER",
	"SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE",
	"SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP",
	"MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG", "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF",
	"CHECKPOINT_RESTORE",
}

// missingCapabilities are those that the kernel knows and the bounding set lacks.
func missingCapabilities() []string {
	missing := []string{}
	for n, name := range capabilities {
		in, err := unix.PrctlRetInt(unix.PR_CAPBSET_READ, uintptr(n), 0, 0, 0)
		if err == nil && in == 0 {
			missing = append(missing, "CAP_"+name)
		}
	}
	return missing
}

// featureProbe is a feature of the kernel and how it is tried.
type featureProbe struct {
	name, needed string
	try          func() error
}

// hostProbes are those that change nothing.
var hostProbes = []featureProbe{
	{"sctp sockets", "SCTP rows", func() error { return openSocket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP) }},
	{"ipv6 sockets", "IPv6 and dual-stack clusters", func() error { return openSocket(unix.AF_INET6, unix.SOCK_STREAM, 0) }},
	{"bpf type format", "eBPF data paths", func() error { _, err := os.Stat("/sys/kernel/btf/vmlinux"); return err }},
}

// namespaceProbes are those that make something, in network, mount and IPC namespaces that are thrown away with it.
var namespaceProbes = []featureProbe{
	{"overlay file system", "the engine and the nodes' runtime", overlay},
	{"posix message queues", "container/posix-message-queue", messageQueue},
	{"nftables", "the egress guard, faults, kube-proxy in nftables mode", makeTable},
	{"bridge", "the lab's network, CNIs that bridge", linkProbe(func(a netlink.LinkAttrs) netlink.Link { return &netlink.Bridge{LinkAttrs: a} })},
	{"veth", "every CNI", linkProbe(func(a netlink.LinkAttrs) netlink.Link { return &netlink.Veth{LinkAttrs: a, PeerName: "peer"} })},
	{"bridge netfilter", "kube-proxy with CNIs that bridge", bridgeNetfilter},
	{"ipvs", "kube-proxy in ipvs mode", ipvs},
	{"dummy", "kube-proxy in ipvs mode", linkProbe(func(a netlink.LinkAttrs) netlink.Link { return &netlink.Dummy{LinkAttrs: a} })},
	{"vxlan", "overlays of flannel, calico, cilium", linkProbe(func(a netlink.LinkAttrs) netlink.Link {
		return &netlink.Vxlan{LinkAttrs: a, VxlanId: 1, Port: 4789}
	})},
	{"geneve", "overlays of cilium, antrea, ovn-kubernetes", linkProbe(func(a netlink.LinkAttrs) netlink.Link {
		return &netlink.Geneve{LinkAttrs: a, ID: 1, Remote: net.IPv4(127, 0, 0, 1)}
	})},
	{"ipip", "overlays of calico", linkProbe(func(a netlink.LinkAttrs) netlink.Link {
		return &netlink.Iptun{LinkAttrs: a, Local: net.IPv4(127, 0, 0, 1), Remote: net.IPv4(127, 0, 0, 2)}
	})},
	{"wireguard", "encrypted overlays", linkProbe(func(a netlink.LinkAttrs) netlink.Link { return &netlink.Wireguard{LinkAttrs: a} })},
	{"netem", "faults of delay and loss", netem},
}

// features tries each feature of this kernel. Modules that the kernel loads by itself when asked may stay loaded.
func features() []Feature {
	var all []Feature
	for _, a := range hostProbes {
		all = append(all, a.feature(a.try()))
	}
	results, err := inThrowawayNamespace(func() (errs []error) {
		for _, a := range namespaceProbes {
			errs = append(errs, a.try())
		}
		return errs
	})
	for i, a := range namespaceProbes {
		if err != nil {
			all = append(all, a.feature(err))
		} else {
			all = append(all, a.feature(results[i]))
		}
	}
	return all
}

func (a featureProbe) feature(err error) Feature {
	f := Feature{Name: a.name, There: err == nil, For: a.needed}
	if err != nil {
		f.Error = err.Error()
	}
	return f
}

// inThrowawayNamespace calls do in namespaces of its own, on a thread that ends with them.
func inThrowawayNamespace(do func() []error) (results []error, err error) {
	onThrowawayThread(func() {
		if e := unix.Unshare(unix.CLONE_NEWNET | unix.CLONE_NEWNS | unix.CLONE_NEWIPC); e != nil {
			err = fmt.Errorf("making namespaces to try it in: %w", e)
			return
		}
		if e := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); e != nil {
			err = fmt.Errorf("making the mounts private to try it: %w", e)
			return
		}
		results = do()
	})
	return results, err
}

// onThrowawayThread calls do on a thread that is not used again.
func onThrowawayThread(do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if unix.Gettid() == unix.Getpid() {
			// The main thread, which is what /proc/self shows, can't end before the process: held here,
			// it makes another one do it.
			defer runtime.UnlockOSThread()
			onThrowawayThread(do)
			return
		}
		// Never unlocked: a thread in other namespaces ends with its goroutine.
		do()
	}()
	<-done
}

func openSocket(domain, kind, protocol int) error {
	fd, err := unix.Socket(domain, kind|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return fmt.Errorf("socket(2): %w", err)
	}
	return unix.Close(fd)
}

// overlay mounts one over folders of a file system in memory.
func overlay() error {
	const at = "/tmp"
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mounting a tmpfs to try it on: %w", err)
	}
	for _, dir := range []string{"/lower", "/upper", "/work", "/merged"} {
		if err := os.Mkdir(at+dir, 0o700); err != nil {
			return err
		}
	}
	options := "lowerdir=" + at + "/lower,upperdir=" + at + "/upper,workdir=" + at + "/work"
	if err := unix.Mount("overlay", at+"/merged", "overlay", 0, options); err != nil {
		return fmt.Errorf("mounting an overlay: %w", err)
	}
	return nil
}

// messageQueue opens one, mq_open(2).
func messageQueue() error {
	name, err := unix.BytePtrFromString("try")
	if err != nil {
		return err
	}
	fd, _, no := unix.Syscall6(unix.SYS_MQ_OPEN, uintptr(unsafe.Pointer(name)), unix.O_CREAT|unix.O_RDWR, 0o600, 0, 0, 0)
	if no != 0 {
		return fmt.Errorf("mq_open(2): %w", no)
	}
	return unix.Close(int(fd))
}

// linkProbe returns a probe that makes a link of a kind.
func linkProbe(of func(netlink.LinkAttrs) netlink.Link) func() error {
	return func() error {
		l := of(netlink.LinkAttrs{Name: "try"})
		if err := netlink.LinkAdd(l); err != nil {
			return fmt.Errorf("making a link of type %s: %w", l.Type(), err)
		}
		return netlink.LinkDel(l)
	}
}

func makeTable() error {
	conn, err := nftables.New()
	if err != nil {
		return err
	}
	conn.AddTable(&nftables.Table{Name: "try", Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("making an nftables table: %w", err)
	}
	return nil
}

// ipvs asks the kernel's IPVS family for its services.
func ipvs() error {
	if _, err := netlink.GenlFamilyGet("IPVS"); err != nil {
		return fmt.Errorf("asking for netlink family IPVS: %w", err)
	}
	return nil
}

// bridgeNetfilter looks for the switches that the module brings to each network namespace.
func bridgeNetfilter() error {
	_, err := os.Stat("/proc/sys/net/bridge/bridge-nf-call-iptables")
	return err
}

// netem tries the queueing discipline on the namespace's loopback.
func netem() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return err
	}
	q := netlink.NewNetem(netlink.QdiscAttrs{
		LinkIndex: lo.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT,
	}, netlink.NetemQdiscAttrs{Latency: 1000})
	if err := netlink.QdiscAdd(q); err != nil {
		return fmt.Errorf("adding a netem queue: %w", err)
	}
	return nil
}
