//go:build !platen_undefended

package sandbox

// defended is false in no program that is released: see undefended.go.
const defended = true
