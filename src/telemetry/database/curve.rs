//! Calibration curves: from what a sensor counts to what it means.

/// Most points or coefficients of a curve.
pub const POINTS_MAX: usize = 1024;

/// What becomes of a value outside the points of a curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outside {
    /// There is no value.
    Bad,
    /// That of the nearest point.
    Clamp,
    /// The first and last piece go on.
    Extrapolate,
}

/// A curve, by what it was written as.
#[derive(Clone, Debug, PartialEq)]
pub enum Curve {
    /// `c[0] + c[1] x + c[2] x^2 ...`
    Polynomial(Vec<f64>),
    /// Straight pieces between points.
    Linear(Points),
    /// The value of each point up to the next one.
    Steps(Points),
    /// A natural cubic spline through points; the second derivative at each.
    Spline(Points, Vec<f64>),
    /// These values and no others, each within half a unit.
    Table(Points),
}

/// Why there is no such curve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CurveError {
    /// Not enough of them.
    #[error("has too few points")]
    Few,
    /// Too many.
    #[error("has more than {POINTS_MAX} points")]
    Many,
    /// One is at, or before, the one before it.
    #[error("has points whose first numbers do not rise")]
    Order,
    /// A number is too large for the pieces between to be computed.
    #[error("has numbers too far apart")]
    Range,
}

/// Points with rising x.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    x: Vec<f64>,
    y: Vec<f64>,
    outside: Outside,
}

impl Points {
    /// These points, at least `least` of them.
    pub fn new(
        points: &[(f64, f64)],
        least: usize,
        outside: Outside,
    ) -> Result<Points, CurveError> {
        if points.len() < least {
            return Err(CurveError::Few);
        }
        if points.len() > POINTS_MAX {
            return Err(CurveError::Many);
        }
        // Not a number rises nowhere.
        if !points.windows(2).all(|pair| pair[0].0 < pair[1].0) {
            return Err(CurveError::Order);
        }
        let (x, y) = points.iter().copied().unzip();
        Ok(Points { x, y, outside })
    }

    /// The piece that a value is on, and the value as it is taken: the first of the two points around it.
    fn piece(&self, x: f64) -> Option<(usize, f64)> {
        let (first, last) = (*self.x.first()?, *self.x.last()?);
        let within = (first..=last).contains(&x);
        let x = match self.outside {
            _ if within => x,
            _ if x.is_nan() => return None,
            Outside::Bad => return None,
            Outside::Clamp => x.clamp(first, last),
            Outside::Extrapolate => x,
        };
        let behind = self.x.partition_point(|point| *point <= x);
        Some((behind.clamp(1, self.x.len() - 1) - 1, x))
    }
}

impl Curve {
    /// A natural cubic spline: its second derivatives solve a system of three diagonals.
    pub fn spline(points: Points) -> Result<Curve, CurveError> {
        let (x, y) = (&points.x, &points.y);
        let count = x.len();
        let (mut second, mut upper) = (vec![0.0; count], vec![0.0; count]);
        for at in 1..count - 1 {
            let (before, behind) = (x[at] - x[at - 1], x[at + 1] - x[at]);
            let slopes = (y[at + 1] - y[at]) / behind - (y[at] - y[at - 1]) / before;
            let pivot = 2.0 * (before + behind) - before * upper[at - 1];
            upper[at] = behind / pivot;
            second[at] = (6.0 * slopes - before * second[at - 1]) / pivot;
        }
        for at in (1..count - 1).rev() {
            second[at] -= upper[at] * second[at + 1];
        }
        if second.iter().all(|value| value.is_finite()) {
            Ok(Curve::Spline(points, second))
        } else {
            Err(CurveError::Range)
        }
    }

    /// The value of the curve; none where it has none, or none that is finite.
    pub fn at(&self, value: f64) -> Option<f64> {
        let found = match self {
            Curve::Polynomial(coefficients) => {
                let horner = |sum, coefficient: &f64| sum * value + coefficient;
                coefficients.iter().rev().fold(0.0, horner)
            }
            Curve::Linear(points) => {
                let (at, x) = points.piece(value)?;
                let part = (x - points.x[at]) / (points.x[at + 1] - points.x[at]);
                points.y[at] * (1.0 - part) + points.y[at + 1] * part
            }
            Curve::Steps(points) => {
                let (at, x) = points.piece(value)?;
                points.y[at + usize::from(x >= points.x[at + 1])]
            }
            Curve::Spline(points, second) => {
                let (at, x) = points.piece(value)?;
                let step = points.x[at + 1] - points.x[at];
                let (a, b) = ((points.x[at + 1] - x) / step, (x - points.x[at]) / step);
                let bend = (a.powi(3) - a) * second[at] + (b.powi(3) - b) * second[at + 1];
                a * points.y[at] + b * points.y[at + 1] + bend * step * step / 6.0
            }
            Curve::Table(points) => {
                let near = points.x.partition_point(|x| *x < value - 0.5);
                let x = points.x.get(near)?;
                if value.is_nan() || (x - value).abs() > 0.5 {
                    return None;
                }
                points.y[near]
            }
        };
        found.is_finite().then_some(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn points(points: &[(f64, f64)], outside: Outside) -> Points {
        Points::new(points, 2, outside).unwrap()
    }

    fn near(found: Option<f64>, wanted: f64) -> bool {
        found.is_some_and(|found| (found - wanted).abs() < 1e-9 * wanted.abs().max(1.0))
    }

    #[test]
    fn polynomials_are_horners() {
        let curve = Curve::Polynomial(vec![1.0, -2.0, 0.5]);
        for x in [-3.0, 0.0, 0.25, 100.0] {
            assert!(near(curve.at(x), 1.0 - 2.0 * x + 0.5 * x * x), "{x}");
        }
        assert_eq!(curve.at(f64::NAN), None);
        assert_eq!(Curve::Polynomial(vec![0.0, 0.0, 1e300]).at(1e10), None);
    }

    #[test]
    fn pieces_go_through_their_points_and_end_as_told() {
        let all = [(0.0, 5.0), (10.0, 15.0), (20.0, 5.0)];
        let linear = |outside| Curve::Linear(points(&all, outside));
        let clamped = linear(Outside::Clamp);
        for (x, wanted) in [
            (0.0, 5.0),
            (4.0, 9.0),
            (10.0, 15.0),
            (15.0, 10.0),
            (20.0, 5.0),
        ] {
            assert!(near(clamped.at(x), wanted), "{x}");
        }
        assert!(near(clamped.at(-7.0), 5.0) && near(clamped.at(99.0), 5.0));
        let on = linear(Outside::Extrapolate);
        assert!(near(on.at(-1.0), 4.0) && near(on.at(22.0), 3.0));
        let none = linear(Outside::Bad);
        assert_eq!(
            (none.at(-0.1), none.at(20.1), none.at(f64::NAN)),
            (None, None, None)
        );
        assert_eq!(on.at(f64::NAN), None);
    }

    #[test]
    fn steps_hold_until_the_next_point() {
        let all = [(0.0, 5.0), (10.0, 15.0), (20.0, 7.0)];
        let steps = |outside| Curve::Steps(points(&all, outside));
        for (x, wanted) in [
            (0.0, 5.0),
            (9.9, 5.0),
            (10.0, 15.0),
            (19.0, 15.0),
            (20.0, 7.0),
        ] {
            assert!(near(steps(Outside::Bad).at(x), wanted), "{x}");
        }
        let none = steps(Outside::Bad);
        assert_eq!((none.at(-0.1), none.at(20.1)), (None, None));
        let on = steps(Outside::Extrapolate);
        assert!(near(on.at(-1.0), 5.0) && near(on.at(99.0), 7.0));
    }

    /// A natural spline has no bend at its ends; its second derivatives between, solved by hand.
    #[test]
    fn splines_are_natural() {
        let all = [(0.0, 0.0), (1.0, 1.0), (2.0, 0.0), (4.0, 3.0)];
        let curve = Curve::spline(points(&all, Outside::Extrapolate)).unwrap();
        for (x, y) in all {
            assert!(near(curve.at(x), y), "{x}");
        }
        let Curve::Spline(_, second) = &curve else {
            panic!("{curve:?}");
        };
        // 4 m1 + m2 = -12 and m1 + 6 m2 = 15.
        assert!(near(Some(second[1]), -87.0 / 23.0), "{second:?}");
        assert!(near(Some(second[2]), 72.0 / 23.0), "{second:?}");
        let line = [(0.0, 1.0), (1.0, 3.0), (5.0, 11.0)];
        let line = Curve::spline(points(&line, Outside::Extrapolate)).unwrap();
        assert!(near(line.at(3.3), 7.6) && near(line.at(-2.0), -3.0));
    }

    #[test]
    fn tables_have_what_is_in_them() {
        let table = Points::new(&[(0.0, 1.5), (1.0, 2.5), (7.0, -1.0)], 1, Outside::Bad);
        let table = Curve::Table(table.unwrap());
        assert_eq!(
            (table.at(0.0), table.at(1.0), table.at(7.0)),
            (Some(1.5), Some(2.5), Some(-1.0))
        );
        assert_eq!(
            (
                table.at(2.0),
                table.at(-1.0),
                table.at(8.0),
                table.at(f64::NAN)
            ),
            (None, None, None, None)
        );
    }

    #[test]
    fn what_is_no_curve() {
        let new = |points: &[(f64, f64)]| Points::new(points, 2, Outside::Clamp).map(|_| ());
        assert_eq!(new(&[(1.0, 1.0)]), Err(CurveError::Few));
        assert_eq!(new(&[(1.0, 1.0), (1.0, 2.0)]), Err(CurveError::Order));
        assert_eq!(new(&[(1.0, 1.0), (f64::NAN, 2.0)]), Err(CurveError::Order));
        let many: Vec<(f64, f64)> = (0..=1024_u16).map(|n| (f64::from(n), 0.0)).collect();
        assert_eq!(new(&many), Err(CurveError::Many));
        let far = points(
            &[(0.0, -1e308), (1e-300, 1e308), (1.0, 0.0)],
            Outside::Clamp,
        );
        assert_eq!(Curve::spline(far), Err(CurveError::Range));
    }
}
