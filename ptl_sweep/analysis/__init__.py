"""From detections to the study: train2test distance, AP_t2t, statistics, report."""
