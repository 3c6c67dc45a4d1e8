// Package platen holds the words of the product: accounts, templates,
// submissions, integrations, actions and events, their states and legal moves,
// their validation, and the codes of everything that can go wrong.
//
// It imports nothing but the standard library. Every other room speaks in these
// words, so that a name means the same thing from the schema to the SQL.
package platen
