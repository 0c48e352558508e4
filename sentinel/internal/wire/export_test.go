package wire

// FrameSizes splits b into replies as they arrive in pieces of the size given, and returns their
// sizes.
func FrameSizes(b []byte, piece int) (sizes []int, alarms []Alarm, err error) {
	var f framer
	from := 0
	for to := 0; ; {
		to = min(to+piece, len(b))
		for from < to {
			size, _, alarm, err := f.next(b[from:to])
			if err != nil {
				return sizes, alarms, err
			}
			if size == 0 {
				break
			}
			sizes, alarms = append(sizes, size), append(alarms, alarm)
			from += size
		}
		if to == len(b) {
			return sizes, alarms, nil
		}
	}
}
