// Package readmes has the tests of what the README files of examples say to type.
package readmes
