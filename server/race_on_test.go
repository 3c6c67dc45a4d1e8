//go:build race

package server

// slowness is how much slower everything may be than it is: the race detector takes its time.
const slowness = 20
