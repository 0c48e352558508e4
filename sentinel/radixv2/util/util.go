// Package util has the names of github.com/mediocregopher/radix.v2/util: scripts and scans. See
// package redis beside.
package util

import (
	"crypto/sha1" //nolint:gosec // the protocol names scripts so
	"encoding/hex"
	"errors"
	"strings"

	"github.com/holdfast-go/holdfast/sentinel/radixv2/redis"
)

// Cmder is what commands can be sent with: a redis.Client, or a pool.Pool.
type Cmder interface {
	Cmd(cmd string, args ...any) *redis.Resp
}

// LuaEval runs a script with a number of keys among its arguments. It sends the script only if the
// server does not know it.
func LuaEval(c Cmder, script string, keys int, args ...any) *redis.Resp {
	sum := sha1.Sum([]byte(script)) //nolint:gosec // as above
	r := c.Cmd("EVALSHA", hex.EncodeToString(sum[:]), keys, args)
	if r.IsType(redis.AppErr) && strings.HasPrefix(r.Err.Error(), "NOSCRIPT") {
		r = c.Cmd("EVAL", script, keys, args)
	}
	return r
}

// ScanOpts says what to scan.
type ScanOpts struct {
	// Command is SCAN, HSCAN, SSCAN or ZSCAN; Key what the last three scan.
	Command, Key string
	// Pattern is what keys must match. Default: all.
	Pattern string
	// Count is about how many are returned by the server at once. Default: as it likes.
	Count int
}

// Scanner goes through what a scan finds. HasNext comes before each Next, and Err after the last.
type Scanner interface {
	HasNext() bool
	Next() string
	Err() error
}

// NewScanner makes a Scanner.
func NewScanner(c Cmder, o ScanOpts) Scanner { return &scanner{cmder: c, options: o, cursor: "0"} }

// Scan sends all that a scan finds to a channel, and closes it. NewScanner needs no goroutine.
func Scan(c Cmder, ch chan string, cmd, key, pattern string) error {
	defer close(ch)
	s := NewScanner(c, ScanOpts{Command: cmd, Key: key, Pattern: pattern})
	for s.HasNext() {
		ch <- s.Next()
	}
	return s.Err()
}

type scanner struct {
	cmder   Cmder
	options ScanOpts
	cursor  string
	begun   bool
	found   []string
	err     error
}

// HasNext reports whether there is one more.
func (s *scanner) HasNext() bool {
	for s.err == nil && len(s.found) == 0 && (!s.begun || s.cursor != "0") {
		s.begun = true
		s.cursor, s.found, s.err = s.part()
	}
	return s.err == nil && len(s.found) > 0
}

// Next returns the next one.
func (s *scanner) Next() string {
	next := s.found[0]
	s.found = s.found[1:]
	return next
}

// Err is why the scan ended early, nil if it has not.
func (s *scanner) Err() error { return s.err }

func (s *scanner) part() (cursor string, found []string, err error) {
	var args []any
	if command := strings.ToUpper(s.options.Command); command != "SCAN" {
		args = append(args, s.options.Key)
	}
	args = append(args, s.cursor)
	if s.options.Pattern != "" {
		args = append(args, "MATCH", s.options.Pattern)
	}
	if s.options.Count > 0 {
		args = append(args, "COUNT", s.options.Count)
	}
	parts, err := s.cmder.Cmd(s.options.Command, args...).Array()
	switch {
	case err != nil:
		return "", nil, err
	case len(parts) != 2:
		return "", nil, errors.New("util: not the reply to a scan")
	}
	if cursor, err = parts[0].Str(); err == nil {
		found, err = parts[1].List()
	}
	return cursor, found, err
}
