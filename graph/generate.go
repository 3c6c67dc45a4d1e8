// Package graph is what gqlgen wrote from schema.graphqls, and nothing else:
// `make generate` writes it anew, and CI proves that it is current.
package graph

//go:generate go -C .. tool gqlgen generate
