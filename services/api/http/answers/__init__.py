"""What every answer passes: headers for caches and other sites, conditional requests, compression."""
