// Package renderer makes a PDF or an image of a page, which is markup or stands at
// an address, through one supervised Chromium. Each account has incognito contexts,
// and so renderer processes, of its own, which serve it again while nothing speaks
// against that; a page at an address gets one for itself. A document runs its
// scripts only if it has some, and reaches the network only through the egress proxy.
package renderer
