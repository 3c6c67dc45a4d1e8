package liquid

import (
	"errors"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"

	"github.com/osteele/liquid/values"
)

// arithmetic replaces the engine's filters, which count in binary fractions
// (0.1 times 3 gave 0.30000000000000004) and divided 7.5 as if it were 7. As
// in Ruby's Liquid, decimals are counted as they are written.
var arithmetic = map[string]any{
	"plus":  func(a, b any) any { return calculate(a, b, (*big.Rat).Add) },
	"minus": func(a, b any) any { return calculate(a, b, (*big.Rat).Sub) },
	"times": func(a, b any) any { return calculate(a, b, (*big.Rat).Mul) },
	"divided_by": func(a, b any) (any, error) {
		x, xWhole := decimal(a)
		y, yWhole := decimal(b)
		switch {
		case y.Sign() == 0:
			return nil, errors.New("division by zero")
		case xWhole && yWhole:
			return result(floor(new(big.Rat).Quo(x, y)), true), nil
		}
		return result(new(big.Rat).Quo(x, y), false), nil
	},
	"modulo": func(a, b any) (any, error) {
		x, xWhole := decimal(a)
		y, yWhole := decimal(b)
		if y.Sign() == 0 {
			return nil, errors.New("division by zero")
		}
		times := floor(new(big.Rat).Quo(x, y))
		return result(x.Sub(x, times.Mul(times, y)), xWhole && yWhole), nil
	},
	"sum": func(list []any, property any) any {
		total, whole := new(big.Rat), true
		for _, v := range list {
			if property != nil {
				v = values.ValueOf(v).PropertyValue(values.ValueOf(property)).Interface()
			}
			n, isWhole := decimal(v)
			total.Add(total, n)
			whole = whole && isWhole
		}
		return result(total, whole)
	},
	"round": func(a any, places func(int) int) any {
		x, whole := decimal(a)
		n := min(max(places(0), 0), 100)
		if whole {
			return result(x, true)
		}
		// Halves go away from zero.
		rounded, _ := new(big.Rat).SetString(x.FloatString(n))
		return result(rounded, n == 0)
	},
	"ceil": func(a any) any {
		x, _ := decimal(a)
		return result(x.Neg(floor(x.Neg(x))), true)
	},
	"floor": func(a any) any {
		x, _ := decimal(a)
		return result(floor(x), true)
	},
	"abs": func(a any) any {
		x, whole := decimal(a)
		return result(x.Abs(x), whole)
	},
}

// plainDigits leaves out exponents: a short text could stand for a number of a
// billion digits.
var plainDigits = regexp.MustCompile(`^[+-]?[0-9]{1,500}(\.[0-9]{1,500})?$`)

func calculate(a, b any, operate func(z, x, y *big.Rat) *big.Rat) any {
	x, xWhole := decimal(a)
	y, yWhole := decimal(b)
	return result(operate(new(big.Rat), x, y), xWhole && yWhole)
}

// decimal reads a value as a number and tells whether it is an integer by its
// kind. What is no number counts as 0.
func decimal(v any) (n *big.Rat, whole bool) {
	switch v := v.(type) {
	case int:
		return new(big.Rat).SetInt64(int64(v)), true
	case int64:
		return new(big.Rat).SetInt64(v), true
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return new(big.Rat), false
		}
		n, _ = new(big.Rat).SetString(strconv.FormatFloat(v, 'g', -1, 64))
		return n, false
	case string:
		text := strings.TrimSpace(v)
		if plainDigits.MatchString(text) {
			n, _ = new(big.Rat).SetString(text)
			return n, !strings.Contains(text, ".")
		}
	}
	return new(big.Rat), true
}

func floor(x *big.Rat) *big.Rat {
	// Div rounds down for positive divisors, and denominators are positive.
	return new(big.Rat).SetInt(new(big.Int).Div(x.Num(), x.Denom()))
}

// result is a value that the engine can print and count with. Integers too
// large for it become texts of their digits.
func result(x *big.Rat, whole bool) any {
	if whole {
		if x.Num().IsInt64() {
			return int(x.Num().Int64())
		}
		return x.Num().String()
	}
	f, _ := x.Float64()
	return f
}
