//go:build platen_undefended

package egress

// defended switches the guard off, so that everything can be reached: `.ci/undefended`
// shows that the tests of the guard and of the proxy fail then. `make build` never sets
// the tag.
const defended = false
