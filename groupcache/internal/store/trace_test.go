//go:build !race

package store_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/holdfast-go/holdfast/internal/testutil"
)

// tracesEnv names the folder of recorded accesses, which are large, and others' work. The document
// of benchmarks says whose.
const tracesEnv = "HOLDFAST_TRACES"

// trace returns the keys of a trace in the order in which they were read.
func trace(t *testing.T, name string) []uint64 {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join(os.Getenv(tracesEnv), name+".gz"))
	if errors.Is(err, fs.ErrNotExist) {
		testutil.Lack(t, "the trace %s is not there: %v; %s names the folder of traces", name, err, tracesEnv)
	}
	if err != nil {
		t.Fatal(err)
	}
	unzip, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(unzip)
	if err != nil {
		t.Fatal(err)
	}
	keys := parse(t, name, all)
	if len(keys) == 0 {
		t.Fatalf("trace %s is empty", name)
	}
	return keys
}

func parse(t *testing.T, name string, all []byte) (keys []uint64) {
	t.Helper()
	if name == "cache2k-web07" {
		for ; len(all) >= 4; all = all[4:] {
			keys = append(keys, uint64(binary.BigEndian.Uint32(all)))
		}
		return keys
	}
	lines := bufio.NewScanner(bytes.NewReader(all))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 {
			continue
		}
		start, err := strconv.ParseUint(fields[0], 10, 64)
		if err != nil {
			continue // a mark between programs
		}
		count := uint64(1)
		if len(fields) > 1 {
			if count, err = strconv.ParseUint(fields[1], 10, 64); err != nil {
				t.Fatalf("trace %s: line %q", name, lines.Text())
			}
		}
		for i := range count {
			keys = append(keys, start+i)
		}
	}
	return keys
}

func distinct(keys []uint64) int {
	seen := map[uint64]struct{}{}
	for _, key := range keys {
		seen[key] = struct{}{}
	}
	return len(seen)
}
