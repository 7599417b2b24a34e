package template

import (
	"encoding/json"
	"fmt"
	"math/big"
	"slices"
	"strings"
)

// perLocal is what writing a number for a reader costs beside its digits.
const perLocal = 256

// forReader writes a number as the reader's locale does. What is no number
// stays as it is.
func (r *run) forReader(in any, write func(n *notation, d decimal) (string, error)) (any, error) {
	d, ok, err := r.toDecimal(in)
	if !ok || err != nil {
		return in, err
	}
	if err := r.spend(perLocal); err != nil {
		return nil, err
	}
	s, err := write(notationOf(r.locale), d)
	if err != nil {
		return nil, err
	}
	return s, r.spend(len(s))
}

// money writes an amount in a currency, rounded to its minor unit. A currency that isn't
// known, which only a row can bring, stands behind the number as it is.
func money(r *run, in any, args []any) (any, error) {
	code, err := r.text(args[0])
	if err != nil {
		return nil, err
	}
	return r.forReader(in, func(n *notation, d decimal) (string, error) {
		if unit, ok := parseUnit(code); ok {
			return n.money(d, unit), nil
		}
		s := n.signed(d, n.unsigned(d, n.group))
		if code == "" {
			return s, nil
		}
		return cut(s + noBreak + code), nil
	})
}

// localNumber writes a number with the digits it has, or rounded to so many places.
func localNumber(r *run, in any, args []any) (any, error) {
	return r.forReader(in, func(n *notation, d decimal) (string, error) {
		d, err := places(d, args)
		return n.signed(d, n.unsigned(d, n.group)), err
	})
}

// percent writes a share of 1: 0.19 is 19%. Without an argument it has the places it needs.
func percent(r *run, in any, args []any) (any, error) {
	return r.forReader(in, func(n *notation, d decimal) (string, error) {
		d = decimal{new(big.Int).Mul(d.n, big.NewInt(100)), d.places}
		if len(args) == 0 {
			d = d.shortest()
		}
		d, err := places(d, args)
		return n.signed(d, n.percent[0]+n.unsigned(d, n.group)+n.percent[1]), err
	})
}

// places gives a number so many decimal places as an argument says, if there is one.
func places(d decimal, args []any) (decimal, error) {
	if len(args) == 0 {
		return d, nil
	}
	const most = 30
	n, err := intArg(args, 0, 0)
	if err != nil {
		return d, err
	}
	n = min(max(n, 0), most)
	d = d.round(n, nearest)
	return decimal{d.with(n), n}, nil
}

// checkArguments judges what stands in a filter's source and can't be right for any row.
func checkArguments(c call) error {
	text := func(i int) (string, bool) {
		if i >= len(c.args) {
			return "", false
		}
		k, ok := c.args[i].(constant)
		if !ok {
			return "", false
		}
		switch v := k.value.(type) {
		case string:
			return v, true
		case json.Number:
			return v.String(), true
		}
		return "", false
	}
	switch c.name {
	case "money":
		if code, ok := text(0); ok {
			if _, known := parseUnit(code); !known {
				return fmt.Errorf("money: %q is no currency; write its code of ISO 4217, as 'EUR' or 'USD'", shorten(code))
			}
		}
	case "date":
		if zone, ok := text(1); ok {
			if _, err := loadZone(zone); err != nil {
				return fmt.Errorf("date: %w", err)
			}
		}
		if format, ok := text(0); ok && format != "" && !strings.Contains(format, "%") && !isStyle(format) && isWord(format) {
			return fmt.Errorf("date: there is no format %q; there are %s and time, the former also with the time as in 'short time', and those of strftime, as '%%d.%%m.%%Y'",
				shorten(format), strings.Join(styles, ", "))
		}
	}
	return nil
}

func isStyle(format string) bool {
	return format == "time" || slices.Contains(styles, strings.TrimSuffix(format, " time"))
}

// isWord says that a format has letters: one of dots and spaces may be meant.
func isWord(format string) bool {
	return strings.ContainsFunc(format, func(c rune) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' })
}
