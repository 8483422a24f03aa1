"""Tasks of the predictor, one file each: options, results, columns, drawings and the service's JSON."""
