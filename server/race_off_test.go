//go:build !race

package server

// slowness is how much slower everything may be than it is.
const slowness = 1
