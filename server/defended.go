//go:build !platen_undefended

package server

// defended is false in no program that is released: see undefended.go.
const defended = true
