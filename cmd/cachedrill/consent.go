package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
)

// errNoConsent is returned where a drill would take room that others need, and the user has not
// said that it may.
var errNoConsent = errors.New("the drill has not begun")

// crowded is the part of a server's memory above which it is full: what it keeps beside items is
// not in the bytes that it tells.
const crowded = .9

// consent says what a drill on servers of others stores there. Where it would push out what others
// stored, it goes on only if that is allowed: by -yes, or, unless a server is full, by an answer to
// the question.
func consent(s settings, asked []rig.Asked, stdin io.Reader, stdout io.Writer) error {
	fmt.Fprintf(stdout, "The drill stores at most %s in all, under keys that begin with \"cachedrill:\". They are deleted at the end, and live for %v at most.\n",
		s.maxBytes.String(), s.ttl())
	full, evicting := occupied(asked, int64(s.maxBytes))
	for _, text := range append(append([]string(nil), full...), evicting...) {
		fmt.Fprintln(stdout, text)
	}
	switch {
	case s.yes || len(full)+len(evicting) == 0:
		return nil
	case len(full) > 0:
		return fmt.Errorf("%w: a server is full, and what others stored would have to go; use a smaller -max-bytes, or -yes if that may be", errNoConsent)
	case !interactive(stdin):
		return fmt.Errorf("%w: a server evicts, so that what others stored may have to go; say -yes if that may be", errNoConsent)
	}
	fmt.Fprint(stdout, "Go on? [y/N] ")
	answer, _ := bufio.NewReader(stdin).ReadString('\n') // a line before an error is the answer
	if answer = strings.ToLower(strings.TrimSpace(answer)); answer != "y" && answer != "yes" {
		return errNoConsent
	}
	return nil
}

// occupied says of each server for which it is so that it is full, once more bytes are stored, or
// that it evicts.
func occupied(asked []rig.Asked, more int64) (full, evicting []string) {
	for _, a := range asked {
		switch {
		case a.Limit > 0 && float64(a.Bytes+more) > crowded*float64(a.Limit):
			full = append(full, fmt.Sprintf("%s is full: %d of %d MiB are in use.", a.Addr, a.Bytes/mebibyte, a.Limit/mebibyte))
		case a.Evictions > 0:
			evicting = append(evicting, fmt.Sprintf("%s has evicted %d items since it started: it may need all the room that it has.", a.Addr, a.Evictions))
		}
	}
	return full, evicting
}

// interactive reports whether somebody can answer.
func interactive(stdin io.Reader) bool {
	if file, ok := stdin.(*os.File); ok {
		return isDevice(file)
	}
	return stdin != nil
}
