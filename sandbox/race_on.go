//go:build race

package sandbox

// dataFactor makes room for the race detector, which keeps several bytes of
// its own for each byte of ours. Only test programs are built with it.
const dataFactor = 10
