// Package renderer makes a PDF of a page through one supervised Chromium. Each
// account has incognito contexts, and so renderer processes, of its own, which
// serve it again while nothing speaks against that. A document runs its scripts
// only if it has some, and reaches the network only through the egress proxy.
package renderer
