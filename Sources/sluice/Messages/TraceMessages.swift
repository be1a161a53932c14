// SPDX-License-Identifier: Apache-2.0

import Trace

extension TraceError: AdvisedError {
  /// The next step for the user.
  var remedy: String? { "give a file written by 'sluice run --trace'" }
}
