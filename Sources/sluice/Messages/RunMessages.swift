// SPDX-License-Identifier: Apache-2.0

import Passthrough
import Sandbox
import VMM

extension RunError: AdvisedError {
  /// The next step for the user.
  var remedy: String? {
    switch self {
    case .system(let error): error.remedy
    case .boot(let error): error.remedy
    case .memory(let error): error.remedy
    case .preparation(let error): error.remedy
    case .vfio(let error): error.remedy
    case .server(let problem): problem.remedy
    case .host(let problem): problem.remedy
    case .control(let problem): problem.remedy
    case .descriptor(let problem): problem.remedy
    case .placement: "give another processor with --cpu-pin"
    case .trace: "free space on the file system, or give another file with --trace"
    case .release(let error)
    where error.isReleasedWithoutReset && error.device.hasPrefix(DeviceName.prefix):
      "start its process again before another program uses the device"
    case .release(let error) where error.isReleasedWithoutReset:
      "type 'echo 1 | sudo tee /sys/bus/pci/devices/\(error.device)/reset' before another program uses the device"
    case .sandbox(.refused(let layer, _)): "leave '\(layer.rawValue)' out of --sandbox"
    case .function, .release, .sandbox, .vcpu, .mainThread, .kernel, .operation: nil
    }
  }
}

extension FunctionWarning.Reason {
  /// The next step for the user.
  var remedy: String {
    switch self {
    case .descriptorLimit: "raise the limit with 'ulimit -n' before the start"
    case .lostServer:
      "start the process again; unless the device has reconnect=, add it to a port with 'sluice ctl', or start the VM again"
    case .foreignDevices(let addresses):
      "add \(addresses.map { "--device \($0)" }.joined(separator: " and ")) to give the VM the whole bus"
    }
  }
}
