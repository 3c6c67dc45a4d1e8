//go:build !platen_undefended

package egress

// defended is false in no program that is released: see undefended.go.
const defended = true
