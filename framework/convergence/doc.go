// Package convergence measures how long a change takes to be in force on every node. Clients on all nodes ask the same
// question again and again while the change is made; of each is known when its first right answer came and when it asked
// for the last time in vain. The clients ask by themselves, and tell in batches when they asked, counted from when they began.
// When that was is known by this process's clock, but for what the quickest batch took to arrive (milliseconds): the nodes' clocks
// play no part. The resolution is 25 ms.
package convergence
