// Package delivery brings finished documents to customers: it makes object keys
// from path templates, uploads to S3 with one PutObject, and says in words what a
// failure means and whether trying again can help.
//
// It is the sole home of clients for customers' storage. Whatever it reaches, it
// reaches through the egress guard.
package delivery
