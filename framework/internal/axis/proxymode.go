package axis

// ProxyMode is the axis of kube-proxy's modes.
func ProxyMode() Axis {
	return Axis{
		Name: "proxy mode", Flag: "proxy-mode", Set: "proxies", Chooses: "mode of kube-proxy in a cluster that is made",
		Values: []Value{
			{Word: "iptables"},
			{Word: "nftables", Lacks: kernel("nftables")},
			{Word: "ipvs", Lacks: kernel("ipvs", "dummy")},
		},
		Apply:  func(s *Spec, mode string) { s.ProxyMode = mode },
		Doctor: DoctorLine{Key: "proxyModes", Label: "proxy modes"},
	}
}
