// Package convergence measures how long a change takes to be in force on every node. Clients on all nodes ask the same
// question again and again while the change is made; of each is known when its first right answer came and when it asked
// for the last time in vain. All times are by this process's clock, from the change to when an answer arrives here: the
// nodes' clocks play no part. The resolution is every, and what a question takes to the agent and back.
package convergence
