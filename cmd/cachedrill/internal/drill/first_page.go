package drill

import (
	"bufio"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/record"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/rig"
	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// firstPage returns what is known before the start.
func (d *Drill) firstPage() record.Record {
	o := d.options
	r := record.Record{
		Tool: "cachedrill " + Version(), Scenario: o.Scenario, Started: time.Now().Round(time.Millisecond), Duration: o.Duration.Seconds(), Seed: o.Seed,
		Machine: thisMachine(), Versions: versions(), Settings: o.settings(), Conditions: conditions(o.Rig),
		Phases: plan(d.steps, o.Duration), Events: []record.Event{}, Samples: []record.Sample{}, Promises: []record.Promise{},
	}
	for _, p := range o.Promises {
		r.Promises = append(r.Promises, record.Promise{Text: p.String()})
	}
	shares := workload.Shares(o.shape(), d.owners, len(o.Rig.Kinds))
	for i, kind := range o.Rig.Kinds {
		r.Servers = append(r.Servers, record.Server{Name: rig.Name(i), Kind: kind, Share: shares[i]})
	}
	return r
}

// Version returns the version of the module that this program was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "(unknown version)"
	}
	return info.Main.Version
}

// versions returns what is under test.
func versions() []record.Entry {
	v := []record.Entry{{Name: "holdfast", Value: Version()}}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, dep := range info.Deps {
		if dep.Path == "github.com/bradfitz/gomemcache" {
			v = append(v, record.Entry{Name: "gomemcache", Value: dep.Version})
		}
	}
	return v
}

func thisMachine() record.Machine {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return record.Machine{
		Host: host, OS: runtime.GOOS, Arch: runtime.GOARCH, CPU: processor(), CPUs: runtime.NumCPU(), Go: runtime.Version(),
	}
}

// processor returns the name of the processor where the system tells it in /proc/cpuinfo, else "".
func processor() string {
	file, err := os.Open("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if name, value, ok := strings.Cut(lines.Text(), ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
