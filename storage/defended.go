//go:build !platen_undefended

package storage

import "database/sql/driver"

// undefended changes nothing in any program that is released: see undefended.go.
func undefended(conn driver.Conn) driver.Conn { return conn }
