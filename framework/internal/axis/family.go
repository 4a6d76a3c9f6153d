package axis

// Family is the axis of the address families of pods and Services.
func Family() Axis {
	return Axis{
		Name: "address families", Flag: "family", Set: "families", Chooses: "address families of a cluster that is made",
		Values: []Value{
			{Word: "ipv4"},
			{Word: "ipv6", Lacks: kernel("ipv6 sockets")},
			{Word: "dual", Lacks: kernel("ipv6 sockets")},
		},
		Apply:  func(s *Spec, family string) { s.Family = family },
		Doctor: DoctorLine{Key: "addressFamilies", Label: "address families"},
	}
}
