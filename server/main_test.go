package server_test

import (
	"os"
	"testing"

	"platen/sandbox"
	"platen/storage/storagetest"
)

func TestMain(m *testing.M) {
	sandbox.Main()
	os.Exit(storagetest.Main(m))
}
