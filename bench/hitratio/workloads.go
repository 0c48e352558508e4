package main

import (
	"bufio"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// workload is a sequence of reads; recorded ones come from a folder.
type workload struct {
	name string
	keys func(folder string) ([]uint64, error)
}

func workloads() []workload {
	all := []workload{}
	for _, name := range []string{"cache2k-web07", "lirs-cs", "lirs-multi1", "lirs-multi3", "oltp", "lirs-loop"} {
		read := lines
		if name == "cache2k-web07" {
			read = words
		}
		all = append(all, workload{name, func(folder string) ([]uint64, error) { return recorded(folder, name, read) }})
	}
	all = append(all,
		made("zipf 0.9", func() []uint64 { return zipf(0.9, 0) }),
		made("zipf 1.1", func() []uint64 { return zipf(1.1, 0) }),
		made("zipf 0.9+scans", func() []uint64 { return zipf(0.9, 0.2) }),
	)
	return append(all, mixes()...)
}

func recorded(folder, name string, read func(io.Reader) ([]uint64, error)) ([]uint64, error) {
	file, err := os.Open(filepath.Join(folder, name+".gz"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	unzip, err := gzip.NewReader(file)
	if err != nil {
		return nil, err
	}
	keys, err := read(bufio.NewReader(unzip))
	if err == nil && len(keys) == 0 {
		err = errors.New("the trace is empty")
	}
	return keys, err
}

// words reads a trace of big-endian numbers of 32 bits.
func words(r io.Reader) (keys []uint64, err error) {
	var word [4]byte
	for {
		if _, err := io.ReadFull(r, word[:]); errors.Is(err, io.EOF) {
			return keys, nil
		} else if err != nil {
			return nil, err
		}
		keys = append(keys, uint64(binary.BigEndian.Uint32(word[:])))
	}
}

// lines reads a trace with an access a line: a block, or the first of so many blocks. Lines that
// begin otherwise are marks between programs.
func lines(r io.Reader) (keys []uint64, err error) {
	text := bufio.NewScanner(r)
	for text.Scan() {
		fields := strings.Fields(text.Text())
		if len(fields) == 0 {
			continue
		}
		start, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			continue
		}
		count := uint64(1)
		if len(fields) > 1 {
			if count, err = strconv.ParseUint(fields[1], 10, 32); err != nil {
				return nil, fmt.Errorf("line %q: %w", text.Text(), err)
			}
		}
		for i := range count {
			keys = append(keys, start+i)
		}
	}
	return keys, text.Err()
}

const (
	mixReads = 500_000
	mixKeys  = 50_000
	scanKeys = 2000
)

// zipf draws keys, the n-th most popular with a probability of n^-s, and so large a part of the
// reads in scans of keys that are read once.
func zipf(s, scans float64) []uint64 {
	random := rand.New(rand.NewPCG(1, 2))
	popular := popularity(s)
	var keys []uint64
	for next := uint64(mixKeys); len(keys) < mixReads; {
		if scans > 0 {
			for range scanKeys {
				keys = append(keys, next)
				next++
			}
		}
		for range int(scanKeys * (1 - scans) / max(scans, 0.01)) {
			keys = append(keys, popular(random.Float64()))
		}
	}
	return keys[:mixReads]
}
