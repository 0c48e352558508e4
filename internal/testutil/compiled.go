package testutil

import "runtime/debug"

// CompiledWith returns those flags of the go command that the running program was compiled with.
// With them, the go command has the program's packages compiled already.
func CompiledWith() (flags []string) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return nil
	}
	for _, s := range info.Settings {
		switch {
		case s.Key == "-race" && s.Value == "true":
			flags = append(flags, s.Key)
		case s.Key == "-gcflags":
			flags = append(flags, s.Key+"="+s.Value)
		}
	}
	return flags
}
