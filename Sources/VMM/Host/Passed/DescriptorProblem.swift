// SPDX-License-Identifier: Apache-2.0

public import PCI
public import Trace

/// A reason why the descriptors that were passed to a VM cannot be used.
public enum DescriptorProblem: Error, Equatable, CustomStringConvertible {
  /// A variable of socket activation is invalid.
  case variable(String, cause: String)
  /// No descriptor has the name.
  case unknown(String)
  /// Two descriptors have the name.
  case doubled(DescriptorName)
  /// A descriptor has two names.
  case shared(DescriptorName, DescriptorName, number: Int32)
  /// The number is not open, or is a standard stream.
  case closed(DescriptorName, number: Int32)
  /// The file is of another kind.
  case wrong(DescriptorName, number: Int32)
  /// The VM needs a descriptor that was not passed.
  case missing(DescriptorName, cause: String)
  /// The VM does not use the descriptor.
  case unused(DescriptorName, cause: String)
  /// A path names the file too.
  case path(DescriptorName)
  /// A line of the facts about the devices is invalid.
  case facts(line: Int, cause: String)
  /// The facts have a device that the VM does not have.
  case foreign(Address, line: Int)
  /// The facts lack a device of the VM.
  case noFacts(Address)
  /// The descriptor belongs to another interface to the IOMMU than the requested interface.
  case interface(DescriptorName, requested: IOMMUInterface)

  /// The descriptor and the cause.
  public var description: String {
    switch self {
    case .variable(let name, let cause): "\(name): \(cause)"
    case .unknown(let name): "descriptor '\(name)': unknown name"
    case .doubled(let name): "descriptor '\(name)': passed twice"
    case .shared(let name, let other, let number):
      "descriptor '\(name)': number \(number) is the descriptor '\(other)' too"
    case .closed(let name, let number): "descriptor '\(name)': number \(number) is not open, or below 3"
    case .wrong(let name, let number): "descriptor '\(name)': number \(number) is not \(name.kind)"
    case .missing(let name, let cause): "descriptor '\(name)': not passed, but \(cause)"
    case .unused(let name, let cause): "descriptor '\(name)': passed, but \(cause)"
    case .path(let name): "descriptor '\(name)': passed, but a path names the file too"
    case .facts(let line, let cause): "descriptor 'devices': line \(line): \(cause)"
    case .foreign(let address, let line):
      "descriptor 'devices': line \(line): the VM has no device \(address)"
    case .noFacts(let address): "descriptor 'devices': no line for \(address), a device of the VM"
    case .interface(let name, let requested):
      "descriptor '\(name)': passed, but the requested interface to the IOMMU is \(requested.rawValue)"
    }
  }
}
