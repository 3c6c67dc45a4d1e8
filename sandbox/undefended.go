//go:build platen_undefended

package sandbox

// defended switches the sandbox off: workers keep user, files, network and time, and may
// answer as much as they like. Only the limit of memory stays, for the sake of the machine
// that runs the tests. `.ci/undefended` shows that the tests of the sandbox fail then.
// `make build` never sets the tag.
const defended = false
