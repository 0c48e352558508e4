package testutil

import "flag"

// SideBySide sets how many tests of a package run side by side of those that say they may, unless
// the command line says. It is for a TestMain, and for tests that mostly wait for servers.
func SideBySide(n string) error {
	flag.Parse()
	const name = "test.parallel"
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == name })
	if chosen {
		return nil
	}
	return flag.Set(name, n)
}
