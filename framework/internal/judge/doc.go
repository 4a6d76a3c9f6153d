// Package judge gives the verdicts: it checks each requirement, proves that the check can fail, follows how busy the nodes are, tries
// again at the end what failed while they were too busy, and keeps what it found out for the report. It sees the cluster through the
// interface Stage.
package judge
