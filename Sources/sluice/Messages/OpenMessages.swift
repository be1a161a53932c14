// SPDX-License-Identifier: Apache-2.0

import Linux
import VMM

extension OpenProblem: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .noUser: "give --user a user of /etc/passwd"
    case .user(_, let error), .limit(let error): error.isPermission ? "run the command with sudo" : nil
    case .passing: nil
    case .program: "check the command's path and permissions"
    case .left(let address, _): "type 'sudo sluice unbind \(address)'"
    }
  }
}
