package platen

import _ "embed"

// SDL is the contract of the API, the text of schema.graphqls.
//
//go:embed schema.graphqls
var SDL string
